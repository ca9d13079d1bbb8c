"""The methods to compare with, one file each; all are called in the same way (`shared.call.FewShotCall`)."""
