"""What a trained run retrieves: features, rankings, P@K and CUI@K with intervals."""
