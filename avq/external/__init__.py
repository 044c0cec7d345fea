"""Other people's images and models: how they are read and measured."""
