"""Drawing a scene with characters: for a terminal, with what rich has, and in ASCII where nothing else is.

Level lines and lines are braille, two dots across and four up in a character; a character that two of
them meet in has the later one alone, so that a path stands out from what it crosses. Without colours,
dots along a path and a sign for each of several lines tell apart what colours tell apart.

The heat map of a sweep is drawn elsewhere, see `sweep_map`.
"""
