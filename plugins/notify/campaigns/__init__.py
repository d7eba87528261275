"""Mass mailing: campaigns written, their messages made, and let go."""
