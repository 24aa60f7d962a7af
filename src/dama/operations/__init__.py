"""Operations: every verb once, for the command line, the shipped services, HTTP and the pages."""
