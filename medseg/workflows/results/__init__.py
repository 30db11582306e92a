"""Results that are there: opened, compared, followed over time, brought into other formats."""
