"""Images of the user's own: files of any origin, to equal arrays of pixels."""
