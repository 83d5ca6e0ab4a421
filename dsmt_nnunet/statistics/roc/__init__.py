"""ROC curves, AUC with intervals, comparisons of AUCs."""
