"""Render the bundled frame pair: one still life, seen before and after a camera move.

Everything in the picture is made here, from formulas: no texture, model or photograph is loaded. It needs Blender as
a Python module (``pip install bpy==5.0.1``, Python 3.11), which is not a dependency of kf2v::

    python examples/pair/make_pair.py --out examples/pair
"""

from __future__ import annotations

import argparse
import math
import random
from pathlib import Path
from typing import Any

import bpy
from mathutils import Matrix, Vector, noise

WIDTH, HEIGHT = 1280, 720
#: where the camera stands and where it looks, in metres; x to the right, y away from us, z up
FIRST = (Vector((-0.44, -2.08, 0.80)), Vector((0.07, 0.20, 0.30)))
LAST = (Vector((-0.09, -1.925, 0.723)), Vector((0.065, 0.20, 0.2972)))
#: the direction sunlight travels in
SUN = Vector((0.80, 0.62, -0.52)).normalized()

Point = tuple[float, float, float]
Color = tuple[float, float, float]


class Material:
    """A principled shader and a hand for adding nodes to it."""

    def __init__(self, name: str, *, roughness: float, subsurface: float = 0.0, coat: float = 0.0) -> None:
        self.material = bpy.data.materials.new(name)
        self.material.use_nodes = True
        self.tree = self.material.node_tree
        self.shader = self.tree.nodes["Principled BSDF"]
        self.shader.inputs["Roughness"].default_value = roughness
        self.shader.inputs["Subsurface Weight"].default_value = subsurface
        self.shader.inputs["Subsurface Scale"].default_value = 0.01
        self.shader.inputs["Coat Weight"].default_value = coat

    def add(self, kind: str, settings: dict[str, Any] | None = None, **inputs: Any) -> Any:
        """One node; inputs are sockets to link from or plain values, spaces in their names written as ``_``."""
        node = self.tree.nodes.new(kind)
        for name, value in (settings or {}).items():
            setattr(node, name, value)
        for name, value in inputs.items():
            socket = node.inputs[int(name[1:])] if name[0] == "_" else node.inputs[name.replace("_", " ")]
            if isinstance(value, bpy.types.NodeSocket):
                self.tree.links.new(value, socket)
            else:
                socket.default_value = value
        return node

    def place(self, scale: Point = (1, 1, 1), *, shuffle: bool = False) -> Any:
        """Object coordinates, stretched; ``shuffle`` gives every object its own stretch of the pattern."""
        vector = self.add("ShaderNodeTexCoord").outputs["Object"]
        if shuffle:
            number = self.add("ShaderNodeObjectInfo").outputs["Random"]
            shift = self.add("ShaderNodeMath", {"operation": "MULTIPLY"}, _0=number, _1=37.0).outputs[0]
            vector = self.add("ShaderNodeVectorMath", {"operation": "ADD"}, _0=vector, _1=shift).outputs[0]
        return self.add("ShaderNodeMapping", Vector=vector, Scale=scale).outputs[0]

    def noise(self, vector: Any, scale: float, detail: float = 6.0, distortion: float = 0.0) -> Any:
        """Fractal noise around 0.5."""
        node = self.add("ShaderNodeTexNoise", Vector=vector, Scale=scale, Detail=detail, Distortion=distortion)
        return node.outputs[0]

    def ramp(self, value: Any, *stops: tuple[float, Color]) -> Any:
        """Colours by value, interpolated between the stops."""
        node = self.add("ShaderNodeValToRGB", Fac=value)
        elements = node.color_ramp.elements
        while len(elements) < len(stops):
            elements.new(0.5)
        for element, (position, color) in zip(elements, stops, strict=True):
            element.position, element.color = position, (*color, 1)
        return node.outputs[0]

    def mix(self, factor: Any, one: Any, other: Any, blend: str = "MIX") -> Any:
        """``one`` where ``factor`` is 0, ``other`` (blended) where it is 1."""
        node = self.add("ShaderNodeMix", {"data_type": "RGBA", "blend_type": blend})
        for index, value in ((0, factor), (6, one), (7, other)):
            if isinstance(value, bpy.types.NodeSocket):
                self.tree.links.new(value, node.inputs[index])
            else:
                node.inputs[index].default_value = (*value, 1) if isinstance(value, tuple) else value
        return node.outputs[2]

    def paint(self, color: Any) -> None:
        """Use ``color`` as the surface's own colour."""
        self.tree.links.new(color, self.shader.inputs["Base Color"])

    def emboss(self, height: Any, depth: float) -> None:
        """Use ``height`` as fine relief, ``depth`` in metres."""
        bump = self.add("ShaderNodeBump", Height=height, Distance=depth)
        self.tree.links.new(bump.outputs[0], self.shader.inputs["Normal"])


def wood() -> Any:
    """Old planks: grain along x, rings, wear."""
    m = Material("wood", roughness=0.55)
    long = m.place((0.55, 7, 7), shuffle=True)
    grain = m.noise(long, 3.2, 10, 1.2)
    rings = m.add("ShaderNodeTexWave", {"bands_direction": "Y"}, Vector=long, Scale=1.1, Distortion=9.0, Detail=4.0)
    fibre = m.noise(m.place((3, 90, 90), shuffle=True), 4, 4)
    color = m.ramp(grain, (0.28, (0.06, 0.028, 0.013)), (0.5, (0.23, 0.115, 0.052)), (0.72, (0.42, 0.24, 0.12)))
    color = m.mix(0.45, color, m.ramp(rings.outputs[0], (0.1, (0.5, 0.4, 0.32)), (0.8, (1, 1, 1))), "MULTIPLY")
    color = m.mix(0.5, color, m.ramp(fibre, (0.35, (0.35, 0.3, 0.27)), (0.65, (1, 1, 1))), "MULTIPLY")
    m.paint(color)
    m.emboss(m.mix(0.5, grain, fibre), 0.004)
    return m.material


def plaster() -> Any:
    """A limewashed wall, blotched and brushed."""
    m = Material("plaster", roughness=0.9)
    at = m.place()
    wide, mid, fine = m.noise(at, 1.6, 8, 0.8), m.noise(at, 7, 10, 0.4), m.noise(at, 70, 6)
    color = m.ramp(wide, (0.32, (0.15, 0.23, 0.24)), (0.5, (0.27, 0.36, 0.35)), (0.68, (0.44, 0.48, 0.43)))
    color = m.mix(0.55, color, m.ramp(mid, (0.33, (0.45, 0.45, 0.44)), (0.62, (1, 1, 1))), "MULTIPLY")
    color = m.mix(0.25, color, m.ramp(fine, (0.35, (0.5, 0.5, 0.5)), (0.6, (1, 1, 1))), "MULTIPLY")
    m.paint(color)
    m.emboss(m.mix(0.4, mid, fine), 0.012)
    return m.material


def peel(name: str, deep: Color, bright: Color, pores: float) -> Any:
    """Citrus skin: pores and slow changes of colour."""
    m = Material(name, roughness=0.38, subsurface=0.15, coat=0.12)
    at = m.place(shuffle=True)
    pits = m.add("ShaderNodeTexVoronoi", Vector=at, Scale=pores).outputs["Distance"]
    color = m.ramp(m.noise(at, 14, 5), (0.35, deep), (0.65, bright))
    m.paint(m.mix(0.35, color, m.ramp(pits, (0.0, (0.55, 0.5, 0.4)), (0.35, (1, 1, 1))), "MULTIPLY"))
    m.emboss(m.mix(0.3, pits, m.noise(at, 40, 3)), 0.0016)
    return m.material


def pear_skin() -> Any:
    """Green to yellow with a red cheek and lenticels."""
    m = Material("pear", roughness=0.42, subsurface=0.12, coat=0.1)
    at = m.place(shuffle=True)
    color = m.ramp(m.noise(at, 9, 6), (0.35, (0.23, 0.28, 0.04)), (0.52, (0.50, 0.46, 0.07)), (0.7, (0.55, 0.22, 0.06)))
    dots = m.add("ShaderNodeTexVoronoi", Vector=at, Scale=190.0).outputs["Distance"]
    m.paint(m.mix(m.ramp(dots, (0.18, (0.8, 0.8, 0.8)), (0.3, (0, 0, 0))), color, (0.22, 0.13, 0.03)))
    m.emboss(m.noise(at, 60, 3), 0.0008)
    return m.material


def stoneware() -> Any:
    """Cream glaze, speckled with iron, bare clay at the foot."""
    m = Material("stoneware", roughness=0.4, coat=0.2)
    at = m.place()
    height = m.add("ShaderNodeSeparateXYZ", Vector=at).outputs["Z"]
    ragged = m.add("ShaderNodeMath", {"operation": "MULTIPLY_ADD"}, _0=m.noise(at, 9, 4), _1=0.06, _2=height).outputs[0]
    glaze = m.ramp(m.noise(at, 6, 8, 0.5), (0.35, (0.50, 0.43, 0.33)), (0.65, (0.74, 0.68, 0.57)))
    specks = m.ramp(m.noise(at, 130, 2), (0.61, (0, 0, 0)), (0.66, (1, 1, 1)))
    rust = m.ramp(m.noise(at, 38, 4), (0.60, (0, 0, 0)), (0.70, (0.8, 0.8, 0.8)))
    glaze = m.mix(rust, m.mix(specks, glaze, (0.10, 0.06, 0.035)), (0.33, 0.17, 0.07))
    clay = m.ramp(m.noise(at, 60, 6), (0.35, (0.20, 0.085, 0.045)), (0.65, (0.36, 0.17, 0.09)))
    m.paint(m.mix(m.ramp(ragged, (0.125, (0, 0, 0)), (0.135, (1, 1, 1))), clay, glaze))
    m.emboss(m.noise(m.place((3, 3, 60)), 4, 4), 0.002)
    return m.material


def faience() -> Any:
    """White glaze with brushed cobalt bands and petals around."""
    m = Material("faience", roughness=0.22, coat=0.4)
    at = m.place()
    xyz = m.add("ShaderNodeSeparateXYZ", Vector=at)
    angle = m.add("ShaderNodeMath", {"operation": "ARCTAN2"}, _0=xyz.outputs["Y"], _1=xyz.outputs["X"]).outputs[0]
    around = m.add("ShaderNodeMath", {"operation": "MULTIPLY"}, _0=angle, _1=17.0).outputs[0]
    petal = m.add("ShaderNodeMath", {"operation": "SINE"}, _0=around).outputs[0]
    wobble = m.noise(at, 22, 3)
    shift = m.add("ShaderNodeMath", {"operation": "MULTIPLY_ADD"}, _0=wobble, _1=0.014, _2=xyz.outputs["Z"]).outputs[0]
    shift = m.add("ShaderNodeMath", {"operation": "MULTIPLY_ADD"}, _0=petal, _1=0.008, _2=shift).outputs[0]
    stripes = m.add("ShaderNodeMath", {"operation": "MULTIPLY"}, _0=shift, _1=155.0).outputs[0]
    brush = m.add("ShaderNodeMath", {"operation": "SINE"}, _0=stripes).outputs[0]
    white = m.ramp(m.noise(at, 18, 5), (0.3, (0.58, 0.58, 0.55)), (0.7, (0.76, 0.76, 0.72)))
    blue = m.ramp(m.noise(at, 34, 5), (0.3, (0.012, 0.03, 0.16)), (0.7, (0.05, 0.12, 0.40)))
    m.paint(m.mix(m.ramp(brush, (0.45, (0, 0, 0)), (0.62, (1, 1, 1))), white, blue))
    return m.material


def linen() -> Any:
    """Woven cloth with red and blue stripes both ways."""
    m = Material("linen", roughness=0.95)
    at = m.place()
    xyz = m.add("ShaderNodeSeparateXYZ", Vector=at)
    color = m.ramp(m.noise(at, 25, 6), (0.3, (0.52, 0.47, 0.38)), (0.7, (0.68, 0.63, 0.54)))
    for axis, period, width, dye in (("X", 0.085, 0.2, (0.40, 0.05, 0.035)), ("Y", 0.085, 0.13, (0.05, 0.09, 0.22))):
        turn = m.add("ShaderNodeMath", {"operation": "DIVIDE"}, _0=xyz.outputs[axis], _1=period).outputs[0]
        part = m.add("ShaderNodeMath", {"operation": "FRACT"}, _0=turn).outputs[0]
        inside = m.add("ShaderNodeMath", {"operation": "LESS_THAN"}, _0=part, _1=width).outputs[0]
        cover = m.add("ShaderNodeMath", {"operation": "MULTIPLY"}, _0=inside, _1=0.72).outputs[0]
        color = m.mix(cover, color, dye)
    weave = m.add("ShaderNodeTexChecker", Vector=at, Scale=640.0).outputs[1]
    yarn = m.noise(m.place((30, 220, 1)), 6, 3)
    m.paint(m.mix(0.35, color, m.ramp(yarn, (0.35, (0.45, 0.42, 0.4)), (0.6, (1, 1, 1))), "MULTIPLY"))
    m.emboss(m.mix(0.5, weave, yarn), 0.0012)
    return m.material


def leaf_skin() -> Any:
    """Dusty blue green, each leaf its own."""
    m = Material("leaf", roughness=0.6, subsurface=0.1)
    tone = m.add("ShaderNodeObjectInfo").outputs["Random"]
    color = m.ramp(tone, (0.0, (0.055, 0.115, 0.07)), (0.6, (0.13, 0.21, 0.13)), (1.0, (0.25, 0.30, 0.17)))
    m.paint(m.mix(0.4, color, m.ramp(m.noise(m.place(), 60, 5), (0.3, (0.5, 0.5, 0.45)), (0.6, (1, 1, 1))), "MULTIPLY"))
    return m.material


def plain(name: str, dark: Color, bright: Color, scale: float, roughness: float = 0.8) -> Any:
    """One mottled colour: book cloth, paper, twigs."""
    m = Material(name, roughness=roughness)
    value = m.noise(m.place(), scale, 8)
    m.paint(m.ramp(value, (0.32, dark), (0.68, bright)))
    m.emboss(value, 0.0015)
    return m.material


def solid(name: str, points: list[Point], faces: list[tuple[int, ...]], material: Any, *, smooth: bool = True) -> Any:
    """A mesh put into the scene."""
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(points, [], faces)
    mesh.validate()
    mesh.polygons.foreach_set("use_smooth", [smooth] * len(mesh.polygons))
    thing = bpy.data.objects.new(name, mesh)
    thing.data.materials.append(material)
    bpy.context.collection.objects.link(thing)
    return thing


def box(name: str, low: Point, high: Point, material: Any, bevel: float = 0.004) -> Any:
    """A block between two corners, its edges worn by ``bevel`` metres; its origin is its middle."""
    half = [(b - a) / 2 for a, b in zip(low, high, strict=True)]
    points = [(x * half[0], y * half[1], z * half[2]) for z in (-1, 1) for y in (-1, 1) for x in (-1, 1)]
    faces = [(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)]
    thing = solid(name, points, faces, material, smooth=False)
    thing.location = [(a + b) / 2 for a, b in zip(low, high, strict=True)]
    edge = thing.modifiers.new("bevel", "BEVEL")
    edge.width, edge.segments = bevel, 3
    return thing


def turned(name: str, profile: list[tuple[float, float]], material: Any, at: Point, sides: int = 64) -> Any:
    """A body of revolution through (radius, height) points, smoothed."""
    points = [
        (r * math.cos(t), r * math.sin(t), z)
        for r, z in profile
        for t in (2 * math.pi * k / sides for k in range(sides))
    ]
    faces = [
        (row * sides + k, row * sides + (k + 1) % sides, (row + 1) * sides + (k + 1) % sides, (row + 1) * sides + k)
        for row in range(len(profile) - 1)
        for k in range(sides)
    ]
    thing = solid(name, points, faces, material)
    thing.location = at
    round_off = thing.modifiers.new("round", "SUBSURF")
    round_off.levels = round_off.render_levels = 2
    return thing


def fruit(name: str, size: float, at: Point, material: Any, tip: float = 0.0, tilt: Point = (0, 0, 0)) -> Any:
    """A ball of radius ``size`` with a dimple, or with two tips (a lemon)."""
    profile = []
    for k in range(25):
        t = math.pi * k / 24
        pole = math.exp(-(((min(k, 24 - k)) / 2.2) ** 2))
        profile.append(
            (
                size * math.sin(t) * (0.95 if tip else 1) + 1e-4,
                -size * math.cos(t) * (1 - 0.05 * pole + tip * (0.25 + pole)),
            )
        )
    thing = turned(name, profile, material, at)
    thing.rotation_euler = tilt
    return thing


def furnish_room() -> None:
    """Table and wall."""
    planks = wood()
    y = -0.78
    for k in range(8):
        depth = 0.205 + 0.02 * math.sin(3.7 * k)
        box(f"plank {k}", (-2.6, y, -0.045), (2.6, y + depth - 0.004, -0.002 + 0.002 * math.sin(5 * k)), planks)
        y += depth
    wall = box("wall", (-4, 1.06, -1.5), (4, 1.16, 3), plaster())
    wall.visible_shadow = False


def lay_cloth() -> None:
    """A cloth thrown over the corner of the table, in low folds."""
    columns, rows = 240, 180
    points = []
    for j in range(rows):
        for i in range(columns):
            u, v = i / (columns - 1) - 0.5, j / (rows - 1) - 0.5
            swell = 0.5 + 0.5 * math.sin(9 * (u + 0.7 * v) + 4 * noise.noise(Vector((2 * u, 2 * v, 3.0))))
            calm = min(1.0, (3.2 * math.hypot(u + 0.02, v - 0.18)) ** 2)
            crease = 0.004 * noise.noise(Vector((14 * u, 9 * v, 7.0)))
            points.append(
                (
                    0.86 * u + 0.012 * math.sin(11 * v),
                    0.62 * v + 0.010 * math.sin(9 * u),
                    0.006 + calm * (0.024 * swell**2 + crease),
                )
            )
    faces = [
        (j * columns + i, j * columns + i + 1, (j + 1) * columns + i + 1, (j + 1) * columns + i)
        for j in range(rows - 1)
        for i in range(columns - 1)
    ]
    cloth = solid("cloth", points, faces, linen())
    cloth.location, cloth.rotation_euler = (0.20, -0.17, 0.001), (0, 0, 0.38)
    cloth.modifiers.new("thickness", "SOLIDIFY").thickness = 0.0025


#: outlines of turned things, (radius, height) in metres
VASE = [(1e-4, 0), (0.085, 0), (0.098, 0.012), (0.125, 0.07), (0.152, 0.15), (0.150, 0.23), (0.112, 0.31)]
VASE += [(0.062, 0.365), (0.048, 0.40), (0.050, 0.425), (0.066, 0.452), (0.058, 0.452), (0.040, 0.42), (0.038, 0.38)]
BOWL = [(1e-4, 0.012), (0.062, 0.012), (0.066, 0), (0.074, 0), (0.076, 0.014), (0.125, 0.042), (0.172, 0.09)]
BOWL += [(0.192, 0.142), (0.194, 0.150), (0.187, 0.150), (0.164, 0.096), (0.118, 0.052), (0.06, 0.03), (1e-4, 0.028)]
PEAR = [(1e-4, 0.004), (0.022, 0), (0.047, 0.018), (0.058, 0.05), (0.050, 0.085), (0.034, 0.113), (0.027, 0.137)]
PEAR += [(0.019, 0.156), (0.006, 0.161), (1e-4, 0.156)]
STALK = [(0.0045, -0.005), (0.003, 0.014), (0.0035, 0.032), (1e-4, 0.034)]
BOWL_AT = (0.17, 0.04, 0.012)
#: place in the bowl, and radius
ORANGES = [(-0.075, -0.055, 0.115, 0.066), (0.07, -0.06, 0.115, 0.064), (0.0, 0.08, 0.115, 0.067)]
ORANGES += [(0.112, 0.055, 0.13, 0.058), (-0.105, 0.062, 0.13, 0.058), (0.005, -0.005, 0.208, 0.064)]
#: place and tilt
PEARS = [((-0.40, 0.02, 0.0), (0.04, 0.03, 0)), ((-0.49, 0.13, 0.0), (-0.05, -0.06, 2))]
PEARS += [((0.60, 0.16, 0.0), (0.05, 0.1, 4))]
#: dark and bright of the cover, thickness, turn on the table
BOOKS = [
    ((0.13, 0.025, 0.02), (0.25, 0.06, 0.045), 0.052, 0.35),
    ((0.02, 0.05, 0.07), (0.05, 0.11, 0.14), 0.040, 0.22),
    ((0.30, 0.20, 0.06), (0.46, 0.33, 0.12), 0.034, 0.52),
]


def set_table() -> None:
    """Vase, bowl and fruit; a lemon lies on the books."""
    orange = peel("orange", (0.62, 0.16, 0.008), (0.80, 0.27, 0.02), 95)
    lemon = peel("lemon", (0.66, 0.46, 0.025), (0.80, 0.63, 0.06), 80)
    turned("vase", VASE, stoneware(), (-0.20, 0.40, 0.0))
    turned("bowl", BOWL, faience(), BOWL_AT)
    for k, (x, y, z, size) in enumerate(ORANGES):
        at = (BOWL_AT[0] + x, BOWL_AT[1] + y, BOWL_AT[2] + z)
        fruit(f"orange {k}", size, at, orange, tilt=(0.5 * k - 1.2, 0.3 * k, k))
    fruit("orange on cloth", 0.064, (0.435, -0.19, 0.070), orange, tilt=(1.0, 0.3, 0.2))
    fruit("lemon", 0.047, (0.02, -0.33, 0.052), lemon, 0.28, (1.45, 0.1, 0.75))
    fruit("lemon behind", 0.046, (-0.13, -0.27, 0.047), lemon, 0.28, (1.5, 0.1, -0.5))
    fruit("lemon on books", 0.046, (0.63, 0.49, stack_books() + 0.045), lemon, 0.28, (1.5, 0.2, 1.1))
    skin, wood_of_stalk = pear_skin(), plain("stalk", (0.05, 0.025, 0.01), (0.12, 0.07, 0.03), 90)
    for k, (at, tilt) in enumerate(PEARS):
        turned(f"pear {k}", PEAR, skin, at).rotation_euler = tilt
        stem = turned(f"stalk {k}", STALK, wood_of_stalk, at, 16)
        stem.rotation_euler = tilt
        stem.location = Vector(at) + Matrix.Rotation(tilt[1], 3, "Y") @ Vector((0, 0, 0.156))


def stack_books() -> float:
    """Three books at the back; returns the height of the pile."""
    paper = plain("paper", (0.45, 0.38, 0.27), (0.62, 0.55, 0.42), 60)
    pile = 0.0
    for k, (dark, bright, thick, turn) in enumerate(BOOKS):
        x, y = 0.165 - 0.012 * k, 0.115 - 0.008 * k
        board = plain(f"cloth binding {k}", dark, bright, 160, 0.75)
        leaves = (x - 0.006, y - 0.006, thick - 0.004)
        parts = [
            box(f"lower board {k}", (-x, -y, 0), (x, y, 0.005), board, 0.0015),
            box(f"upper board {k}", (-x, -y, thick - 0.005), (x, y, thick), board, 0.0015),
            box(f"spine {k}", (-x, -y - 0.004, 0), (x, -y + 0.006, thick), board, 0.003),
            box(f"pages {k}", (0.006 - x, -y, 0.004), leaves, paper, 0.001),
        ]
        turning = Matrix.Translation((0.62, 0.50, pile)) @ Matrix.Rotation(-turn, 4, "Z")
        for part in parts:
            part.matrix_world = turning @ Matrix.Translation(part.location)
        pile += thick
    return pile


def arrange_branches(dice: random.Random) -> None:
    """Eucalyptus in the vase: bent twigs with round leaves in pairs."""
    skin, bark = leaf_skin(), plain("bark", (0.07, 0.035, 0.02), (0.16, 0.09, 0.05), 80)
    rim = [(math.cos(a), math.sin(a)) for a in (2 * math.pi * k / 20 for k in range(20))]
    outline = [(0, 0, 0), *((0.045 * c + 0.045, 0.04 * s, 0.012 * s * s - 0.008 * c) for c, s in rim)]
    blade = [(0, 1 + k, 1 + (k + 1) % 20) for k in range(20)]
    for lean, turn, length in (
        (0.42, 2.9, 0.62),
        (0.20, 1.9, 0.72),
        (0.36, 0.35, 0.66),
        (0.62, -0.25, 0.50),
        (0.55, 3.5, 0.46),
    ):
        side = Vector((math.cos(turn), 0.5 * math.sin(turn), 0))
        path = [
            Vector((-0.20, 0.40, 0.36))
            + side * (lean * length * s * (0.35 + 0.9 * s))
            + Vector((0, 0, length * (s - 0.28 * lean * s * s)))
            for s in (k / 11 for k in range(12))
        ]
        curve = bpy.data.curves.new("twig", "CURVE")
        curve.dimensions, curve.bevel_depth = "3D", 0.0032
        spline = curve.splines.new("POLY")
        spline.points.add(len(path) - 1)
        for point, at in zip(spline.points, path, strict=True):
            point.co = (*at, 1)
        curve.materials.append(bark)
        bpy.context.collection.objects.link(bpy.data.objects.new("twig", curve))
        for k in range(3, 12):
            along = (path[k] - path[k - 1]).normalized()
            for hand in (-1, 1):
                size = 0.044 - 0.0022 * k + 0.006 * dice.random()
                leaf = solid("leaf", outline, blade, skin)
                out = (
                    along.cross(Vector((0, 1, 0))).normalized() * hand
                    + 0.45 * along
                    + Vector((0, dice.uniform(-0.7, 0.3), 0))
                )
                leaf.matrix_world = (
                    Matrix.Translation(path[k])
                    @ out.to_track_quat("X", "Z").to_matrix().to_4x4()
                    @ Matrix.Rotation(dice.uniform(0.1, 1.1) * hand, 4, "X")
                    @ Matrix.Scale(size / 0.045, 4)
                )


def light() -> None:
    """Morning sun through a window with bars, and the sky's fill."""
    sun = bpy.data.lights.new("sun", "SUN")
    sun.energy, sun.angle, sun.color = 9.0, 0.016, (1.0, 0.80, 0.58)
    lamp = bpy.data.objects.new("sun", sun)
    lamp.rotation_euler = SUN.to_track_quat("-Z", "Y").to_euler()
    bpy.context.collection.objects.link(lamp)
    frame = plain("window frame", (0.01, 0.01, 0.01), (0.02, 0.02, 0.02), 10)
    upright = SUN.to_track_quat("-Z", "Y").to_matrix().to_4x4()
    stand = Matrix.Translation(Vector((0.12, 0.45, 0.30)) - 3.2 * SUN) @ upright
    for low, high in [
        ((-6, -6), (-0.62, 6)), ((0.66, -6), (6, 6)), ((-0.62, -6), (0.66, -0.55)), ((-0.62, 0.62), (0.66, 6)),
        ((-0.022, -0.55), (0.022, 0.62)), ((-0.62, 0.06), (0.66, 0.095)),
    ]:  # fmt: skip
        bar = box("bar", (*low, -0.01), (*high, 0.01), frame, 0.001)
        bar.matrix_world = stand @ Matrix.Translation(bar.location)
        bar.visible_camera = bar.visible_diffuse = bar.visible_glossy = False
    for name, at, power, size, color in (
        ("window", (-1.9, -0.5, 1.5), 26, 1.6, (0.80, 0.89, 1.0)),
        ("room", (1.6, -2.2, 1.9), 9, 2.0, (1.0, 0.93, 0.85)),
    ):
        area = bpy.data.lights.new(name, "AREA")
        area.energy, area.size, area.color = power, size, color
        lamp = bpy.data.objects.new(name, area)
        lamp.location = at
        lamp.rotation_euler = (Vector((0.1, 0.3, 0.25)) - Vector(at)).to_track_quat("-Z", "Y").to_euler()
        bpy.context.collection.objects.link(lamp)
    world = bpy.data.worlds.new("sky")
    world.use_nodes = True
    world.node_tree.nodes["Background"].inputs[0].default_value = (0.55, 0.68, 0.90, 1)
    world.node_tree.nodes["Background"].inputs[1].default_value = 0.16
    bpy.context.scene.world = world


def take(out: Path, *, scale: int, samples: int) -> None:
    """Both photographs, ``scale`` percent of full size."""
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.seed, scene.cycles.use_denoising = samples, 1, True
    scene.cycles.adaptive_threshold = 0.02
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = WIDTH, HEIGHT, scale
    scene.render.image_settings.file_format, scene.render.image_settings.quality = "JPEG", 92
    scene.view_settings.view_transform, scene.view_settings.look = "AgX", "AgX - Medium High Contrast"
    scene.view_settings.exposure = 0.35
    lens = bpy.data.cameras.new("camera")
    lens.lens = 44
    lens.dof.use_dof, lens.dof.aperture_fstop = True, 9.0
    camera = bpy.data.objects.new("camera", lens)
    bpy.context.collection.objects.link(camera)
    scene.camera = camera
    for name, (stand, goal) in (("first", FIRST), ("last", LAST)):
        camera.location = stand
        camera.rotation_euler = (goal - stand).to_track_quat("-Z", "Y").to_euler()
        lens.dof.focus_distance = (goal - stand).length
        scene.render.filepath = str(out / f"{name}.jpg")
        bpy.ops.render.render(write_still=True)


def main() -> None:
    """Build the scene and photograph it twice."""
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--out", type=Path, default=Path(__file__).parent)
    ask.add_argument("--scale", type=int, default=100, help="percent of 1280×720, for a quick look")
    ask.add_argument("--samples", type=int, default=64)
    given = ask.parse_args()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    furnish_room()
    lay_cloth()
    set_table()
    arrange_branches(random.Random(7))  # noqa: S311  leaves, not secrets
    light()
    take(given.out, scale=given.scale, samples=given.samples)


if __name__ == "__main__":
    main()
