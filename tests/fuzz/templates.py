# ruff: noqa: E501 - lists of what breaks programs are best read as tables
"""Templates as an admin may write them, by mistake or to see how far it goes."""

from __future__ import annotations

from hypothesis import strategies as st

#: What a template that came out of the sandbox would show: the beginning of a file of this project.
ESCAPED = "root:x:0:0"

_EXPRESSIONS = (
    "word", "things", "things[1].b", "none.x", "count", "missing", "text", "self", "loop.index", "word|upper", "word|url", "count|number('#,##0.00')",
    "things|join(', ')", "word|safe", "word|paragraphs", "word|to_text", "count|plural(other='x')", "word|datetime", "1/0", "count**99", "count**1000",
    "text*1000", "text*10000000", "range(10)|list", "range(1000000)|list", "range(10**9)|list", "''.__class__", "''.__class__.__mro__[1].__subclasses__()",
    "self.__init__.__globals__", "word.__init__.__globals__", "''.format", "'{0.__class__}'.format(1)", "'{0.__class__.__mro__}'|format(1)",
    "cycler.__init__.__globals__.os.popen('cat /etc/passwd').read()", "joiner.__init__.__globals__", "lipsum.__globals__", "namespace.__init__.__globals__",
    "things.append(1)", "things.clear()", "word|attr('__class__')", "things|map(attribute='__class__')|list", "dict(a=1)", "[1,2]|sum", "(1,2)|batch(2)|list",
    "'%s'|format(word)", "'%d'|format(word)", "word|int", "word|float", "count|round", "things|sort", "things|groupby('b')", "things|tojson", "word|xmlattr",
    "{'a b': 1}|xmlattr", "{}|first", "things|random", "x ~ x", "caller()", "super()", "layout", "locale", "timezone", "range", "range.__call__",
    "recipient.name", "'\\x00'", "'\\ud800'", "'\\r\\nBcc: x@example.com'", "word|replace('', text)", "text|wordwrap(1)", "text|indent(4)", "text|center(200)",
    "word|striptags", "word|truncate(3)", "word|filesizeformat", "count is divisibleby 0", "word is foo", "word|nofilter", "[].__len__()", "count.real",
)  # fmt: skip
_BROKEN = (
    "{{", "{%", "{#", "}}", "{% if %}", "{% endfor %}", "{% for %}", "{{ }}", "{% raw %}", "{% set x %}", "{% block a %}", "{% extends 'x' %}",
    "{% extends layout %}", "{% include '../../../etc/passwd' %}", "{% include 'own/en/body.txt.j2' %}", "{% import 'os' as os %}", "{% include '/etc/passwd' %}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "{% for i in range(100000) %}{{ text }}{% endfor %}",
    "{% for i in range(400) %}{% for j in range(400) %}x{% endfor %}{% endfor %}", "{% for i in range(99999) %}{{ text * 100 }}{% endfor %}",
    "{% set ns = namespace(x='x') %}{% for i in range(20) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
    "{% autoescape false %}{{ word }}{% endautoescape %}", "{% do x %}", "{% trans %}", "{% with %}", "{% call m() %}{% endcall %}", "{{ ( }}", "\0", "\ufeff", "\ud800",
    "<p>" * 3_000, "<style>p { color: </style><p>", "<style>@import 'file:///etc/passwd';</style>", "<!--", "<p style='red'>x</p>", "&#0;&#xD800;", "<![CDATA[",
)  # fmt: skip

_PIECES = (
    st.sampled_from(_EXPRESSIONS).map("{{{{ {} }}}}".format)
    | st.sampled_from(_BROKEN)
    | st.text(max_size=10)
    | st.just("<p>text</p>\n")
)


def _around(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    blocks = st.sampled_from(
        ("{{% if {0} %}}{1}{{% endif %}}", "{{% for x in {0} %}}{1}{{% endfor %}}", "{{% set x = {0} %}}{1}", "{{% filter upper %}}{1}{{% endfilter %}}",
         "{{% block b %}}{1}{{% endblock %}}", "{{% for x in {0} recursive %}}{1}{{% endfor %}}", "{{% macro m(a={0}) %}}{1}{{% endmacro %}}{{{{ m() }}}}")
    )  # fmt: skip
    return st.builds(
        lambda block, value, body: block.format(value, body), blocks, st.sampled_from(_EXPRESSIONS), inner
    ) | st.lists(inner, max_size=3).map("".join)


_SOURCE = st.recursive(_PIECES, _around, max_leaves=6)

#: File by file; the folder already has none of them.
TEMPLATES = st.fixed_dictionaries(
    {
        "subject.txt.j2": st.just("Subject") | _SOURCE,
        "body.txt.j2": _SOURCE,
        "body.html.j2": st.just("<p>x</p>") | _SOURCE,
    }
)
