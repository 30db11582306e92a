"""DICOMweb (PS3.18): QIDO finds, WADO fetches, STOW stores."""
