"""Line charts as SVG, for the scripts of this folder; needs nothing but Python.

Colours are those of Okabe and Ito, which the colour-blind tell apart; each comes
with a marker of its own, so that a chart can be read without any colour.
"""
import math
import xml.sax.saxutils

COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]
GREY = "#6e7781"
MARKERS = ["circle", "square", "triangle", "diamond"]
TOP, BOTTOM, LEFT = 48, 52, 64


def ticks(low, high, n=6):
    """About n round numbers from low to high."""
    raw = (high - low) / n
    unit = 10 ** math.floor(math.log10(raw))
    step = next(unit * m for m in (1, 2, 5, 10) if unit * m >= raw)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


class Chart:
    """x and y are (lowest, highest) value; log_x: x by its logarithm; right:
    width of the margin that a legend can stand in."""

    def __init__(self, x, y, log_x=False, right=20, width=720, height=400):
        self.width, self.height, self.right = width, height, right
        self.scale_x = math.log if log_x else float
        self.x0, self.x1 = map(self.scale_x, x)
        self.y0, self.y1 = y
        self.parts = []
        self.n_legend = 0

    def x(self, value):
        span = self.x1 - self.x0 or 1
        share = (self.scale_x(value) - self.x0) / span
        return LEFT + share * (self.width - LEFT - self.right)

    def y(self, value):
        share = (value - self.y0) / (self.y1 - self.y0)
        return self.height - BOTTOM - share * (self.height - TOP - BOTTOM)

    def text(self, x, y, text, anchor="middle", more=""):
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>'
            f"{xml.sax.saxutils.escape(text)}</text>")

    def line(self, x1, y1, x2, y2, more):
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" '
                          f'y2="{y2:.1f}" {more}/>')

    def axes(self, label_x, label_y, ticks_x, format_y=".4g"):
        right = self.width - self.right
        for value in ticks(self.y0, self.y1):
            y = self.y(value)
            self.line(LEFT, y, right, y, 'class="grid"')
            self.text(LEFT - 8, y + 4, f"{value:{format_y}}", "end")
        for value in ticks_x:
            self.line(self.x(value), self.height - BOTTOM, self.x(value),
                      self.height - BOTTOM + 5, 'class="grid"')
            self.text(self.x(value), self.height - BOTTOM + 20,
                      f"{value:,.0f}")
        self.text((LEFT + right) / 2, self.height - 10, label_x)
        middle = (TOP + self.height - BOTTOM) / 2
        self.text(16, middle, label_y, "middle",
                  f'transform="rotate(-90 16 {middle})"')

    def curve(self, points, color, dashed=False, width=2):
        path = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)
        dash = ' stroke-dasharray="6 4"' if dashed else ""
        self.parts.append(f'<polyline points="{path}" fill="none" '
                          f'stroke="{color}" stroke-width="{width}"{dash}/>')

    def marker(self, x, y, kind, color):
        """At a place of the page, not of the axes."""
        r = 4
        if kind == "circle":
            self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r}" '
                              f'fill="{color}"/>')
            return
        corners = {"square": [(-r, -r), (r, -r), (r, r), (-r, r)],
                   "triangle": [(0, -r - 1), (r + 1, r), (-r - 1, r)],
                   "diamond": [(0, -r - 1), (r + 1, 0), (0, r + 1),
                               (-r - 1, 0)]}[kind]
        path = " ".join(f"{x + a:.1f},{y + b:.1f}" for a, b in corners)
        self.parts.append(f'<polygon points="{path}" fill="{color}"/>')

    def error_bar(self, x, low, high, color):
        self.line(self.x(x), self.y(low), self.x(x), self.y(high),
                  f'stroke="{color}" stroke-width="1"')

    def legend(self, x, label, color, dashed=False, marker=None):
        """The next line of the legend, from x on."""
        y = TOP + 18 + 20 * self.n_legend
        self.n_legend += 1
        dash = ' stroke-dasharray="6 4"' if dashed else ""
        self.line(x, y - 4, x + 28, y - 4,
                  f'stroke="{color}" stroke-width="2"{dash}')
        if marker is not None:
            self.marker(x + 14, y - 4, marker, color)
        self.text(x + 36, y, label, "start")

    def svg(self, title, subtitle=""):
        if subtitle:
            self.text(LEFT, 42, subtitle, "start")
        body = "\n".join(self.parts)
        title = xml.sax.saxutils.escape(title)
        return f"""<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}"
 height="{self.height}" viewBox="0 0 {self.width} {self.height}" role="img"
 font-family="sans-serif" font-size="12" fill="#24292f">
<title>{title}</title>
<style>.grid {{ stroke: #d0d7de; stroke-width: 1 }}</style>
<rect width="{self.width}" height="{self.height}" fill="#ffffff"/>
<text x="{LEFT}" y="26" font-size="15" font-weight="bold">{title}</text>
{body}
</svg>
"""
