"""What the relay decides: whom it dials and lets in, how connections end, when sessions expire."""
