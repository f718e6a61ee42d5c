"""Files of captions as people have them, row by row: the one reader of both programs."""
