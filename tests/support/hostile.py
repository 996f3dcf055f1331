"""Texts that do harm where they are printed as they are: one list for every view."""

from __future__ import annotations

CONTROLS = (
    "\x1b[2J\x1b[31mcleared",
    "\x1b]0;title\x07",
    "rubbed\x08\x7fout",
    "\x9b31mC1",
    "two\nno faults found",
    "carriage\rreturn",
    "a\ttab",
    "\u202egnp.exe",
    "\u2028line separator",
    "zero\u200bwidth",
    "nul\x00",
)
"""Control characters: of terminals, of lines, of the direction of writing."""

MARKUP = (
    "[red]rich[/red]",
    "[/closed]",
    "[link=http://evil]rich[/link]",
    ":skull:",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "</title><!--DATA-->",
    "&lt;b&gt;",
    "--><b>",
    "]]><b>",
    "![picture](http://evil/x.png)",
    "[link](http://evil)",
    "[evil]: http://evil",
    "<http://evil>",
    "`code`",
    "**bold** _it_ *it* __bold__ ~~struck~~",
    "a | b",
    "back\\slash",
    "\\*escaped\\* \\[link](http://evil)",
    "# heading",
    "- item",
    "+ item",
    "1. item",
    "> quote",
    "```",
    "~~~",
    "===",
    "---",
    "$\\frac$",
    "{0} %s {name}",
)
"""Markup of rich, HTML, SVG, Markdown and mathematics."""

FORMULAS = ("=1+1", "+1+1", "-1+1", "@SUM(A1)", "=cmd|' /C calc'!A0", '="quoted", x', "\t=1+1", "\r=1+1")
"""What a spreadsheet would compute."""

HOSTILE = (*CONTROLS, *MARKUP, *FORMULAS)
