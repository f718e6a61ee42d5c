"""Image-caption data: reading it, checking it, the plan of batches, decoded images and their augmentation."""
