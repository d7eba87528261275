"""What can change about a case (behaviour: Kinds of event, ``case_changed``)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from notify.domain.message import a_word


class What(StrEnum):
    """What changed; producers write these words, templates say them in the reader's language."""

    COMMENT_ADDED = "comment_added"
    DOCUMENT_ADDED = "document_added"
    DOCUMENT_VERSION = "document_version"
    DOCUMENT_REMOVED = "document_removed"
    COLLABORATOR_ADDED = "collaborator_added"
    CLOSED = "closed"  #: the case ended; its deadlines end with it


#: What must be named.
NAMED = frozenset({What.DOCUMENT_ADDED, What.DOCUMENT_VERSION, What.DOCUMENT_REMOVED, What.COLLABORATOR_ADDED})


class Change(BaseModel):
    """One change of a case.

    :param what: what changed
    :param text: of a comment
    :param name: of the document or the collaborator
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    what: Annotated[What, BeforeValidator(a_word)]
    text: str | None = Field(default=None, max_length=100_000, repr=False)
    name: str | None = Field(default=None, max_length=500)

    @model_validator(mode="after")
    def _told(self) -> Change:
        if self.what in NAMED and not self.name:
            raise ValueError(f"{self.what.value} needs a name: of the document, or of the collaborator")
        if self.what is What.COMMENT_ADDED and not self.text:
            raise ValueError("comment_added needs the text of the comment")
        return self
