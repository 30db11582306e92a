"""Made vessels: trees by rule, disease in them, how they are imaged, and what is true of them by formula."""
