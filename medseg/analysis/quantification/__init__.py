"""What a mask measures: volumes, diameters, intensities, one finding for each instance."""
