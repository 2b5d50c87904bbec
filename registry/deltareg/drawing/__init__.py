"""What is drawn for people: numbers in words, plots, and pages of HTML."""
