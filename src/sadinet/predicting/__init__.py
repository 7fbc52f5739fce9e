"""Sources to files: what is wanted, pictures, videos, the formats."""
