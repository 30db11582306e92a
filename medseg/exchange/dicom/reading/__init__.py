"""From the headers of DICOM images to frames, phases, grids and voxels; `exchange.dicom.series` puts them together."""
