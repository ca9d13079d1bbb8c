"""The methods to compare with, one file each; all are called as the class graph is."""
