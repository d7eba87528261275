"""Templates and data become the subject and the bodies of a message, and these become MIME."""
