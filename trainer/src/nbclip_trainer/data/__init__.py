"""Image-caption data: reading it, checking it, the plan of batches, decoded pictures and their augmentation."""
