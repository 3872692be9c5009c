"""Pictures as files and as pixels: opening any of them as 8-bit RGB, drawing on them, writing them whole."""
