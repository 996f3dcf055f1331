"""Pictures: what is drawn of a result, as a value, and the ways to draw it.

A `Scene` says all that a picture shows, in numbers and words: a title, and panels side by side or one
under another. A panel has two axes and, in layers from the back to the front, the contour lines of a loss
or a heat map, lines (paths through the plane, or curves), dashed limits, and marks. `trace_scene`,
`compare_scene`, `sweep_scene` and `training_scene` make scenes of results. A renderer turns a scene into
a file or into text: it decides on colours, fonts and signs, and on nothing else.

A scene is ready to be drawn:

- Every position lies within its panel's axes. What would leave them is cut at the edge, and a mark stands
  where a line leaves for good; so no renderer has to clip, and none meets a number that is not finite.
- Long lines are thinned to what can be seen: see `lines`. Short ones have every step.
- An axis is logarithmic where it says so; positions are in the units of the axis, not logarithms.
- The first line of a panel has the first colour, and so on; a mark that belongs to a line has its colour.
"""
