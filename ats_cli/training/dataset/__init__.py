"""What a training reads: labelled slides, splits, views and tiles of a batch, augmentation."""
