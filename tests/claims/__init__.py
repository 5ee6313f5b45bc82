"""Claims: every figure that the project states about itself, as a function that measures it on the user's machine."""
