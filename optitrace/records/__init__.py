"""Records: what a trace and a training hold, and their files. Nothing here needs torch."""
