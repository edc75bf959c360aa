"""Initial weights from files of other programs and from other runs."""
