"""The player: a scene as one web page, in which its lines are drawn step by step. It needs no network."""
