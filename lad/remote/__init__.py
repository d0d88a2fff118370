"""Videos at a URL: what they are called, what a server says of them, and how their files come here."""
