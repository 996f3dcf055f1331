"""The formats: a module here declares its `WRITERS`, and they are known wherever a format is named."""
