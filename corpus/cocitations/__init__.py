"""Co-citations: full texts → citing sentences → filtered contexts → training pairs."""
