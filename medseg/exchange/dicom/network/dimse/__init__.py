"""DICOM's own message exchange (PS3.7, PS3.8): a C-STORE listener; clients that send, find and move."""
