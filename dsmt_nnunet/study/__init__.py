"""Several trainings side by side: trained, asked about unseen cases, put into tables."""
