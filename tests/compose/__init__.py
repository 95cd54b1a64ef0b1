"""The path in containers. Not part of `make test`: `make test-compose` builds the image and runs this alone."""
