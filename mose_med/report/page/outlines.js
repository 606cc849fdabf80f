// Outlines of masks on top of NiiVue's slices, drawn as lines so that they stay sharp at any zoom.
//
// Volumes are indexed (i, j, k) = (left, posterior, superior), first index fastest. NiiVue's fractions run from 0 to 1
// to the right, to anterior and to superior.

// Of each plane (NiiVue's number): the axes across and up, the axis it is a slice of, and the world axes on the screen.
const PLANES = [
  { across: 0, up: 1, normal: 2, horizontal: 0, vertical: 1 },
  { across: 0, up: 2, normal: 1, horizontal: 0, vertical: 2 },
  { across: 1, up: 2, normal: 0, horizontal: 1, vertical: 2 },
];

// Voxel centre or border `index` along `axis` as a fraction, and back; i and j run against NiiVue's axes.
function toFraction(index, axis, shape) {
  const fraction = (index + 0.5) / shape[axis];
  return axis === 2 ? fraction : 1 - fraction;
}

function toIndex(fraction, axis, shape) {
  const along = axis === 2 ? fraction : 1 - fraction;
  return Math.min(Math.max(Math.floor(along * shape[axis]), 0), shape[axis] - 1);
}

// The border of a mask in one slice by marching squares at level 1/2, as a path in voxel indices of the plane.
function outlinePath(mask, shape, plane, slice) {
  const strides = [1, shape[0], shape[0] * shape[1]];
  const { across, up, normal } = PLANES[plane];
  const [width, height] = [shape[across], shape[up]];
  const base = slice * strides[normal];
  const at = (u, v) =>
    u >= 0 && v >= 0 && u < width && v < height && mask[base + u * strides[across] + v * strides[up]] ? 1 : 0;
  const path = new Path2D();
  for (let v = -1; v < height; v++) {
    for (let u = -1; u < width; u++) {
      const corners = at(u, v) | (at(u + 1, v) << 1) | (at(u + 1, v + 1) << 2) | (at(u, v + 1) << 3);
      for (const [from, to] of SEGMENTS[corners]) {
        path.moveTo(u + from[0], v + from[1]);
        path.lineTo(u + to[0], v + to[1]);
      }
    }
  }
  return path;
}

// Where the line enters and leaves a cell, by which of its corners (0,0) (1,0) (1,1) (0,1) lie inside.
const [LOW, RIGHT, HIGH, LEFT] = [[0.5, 0], [1, 0.5], [0.5, 1], [0, 0.5]];
const SEGMENTS = [
  [], [[LEFT, LOW]], [[LOW, RIGHT]], [[LEFT, RIGHT]],
  [[RIGHT, HIGH]], [[LEFT, LOW], [RIGHT, HIGH]], [[LOW, HIGH]], [[LEFT, HIGH]],
  [[HIGH, LEFT]], [[LOW, HIGH]], [[LOW, RIGHT], [HIGH, LEFT]], [[RIGHT, HIGH]],
  [[LEFT, RIGHT]], [[LOW, RIGHT]], [[LEFT, LOW]], [],
];

// Draws masks over every slice that NiiVue shows.
class OutlineCanvas {
  constructor(canvas) {
    this.canvas = canvas;
    this.paths = new Map();
  }

  // layers: [{key, mask, colour, width}], first at the bottom.
  draw(viewer, shape, layers) {
    const target = viewer.gl.canvas;
    Object.assign(this.canvas, { width: target.width, height: target.height });
    const context = this.canvas.getContext("2d");
    for (const tile of viewer.screenSlices) {
      if (tile.axCorSag < PLANES.length) this.drawTile(context, viewer, tile, shape, layers);
    }
  }

  drawTile(context, viewer, tile, shape, layers) {
    const [left, top, width, height] = tile.leftTopWidthHeight;
    const slice = toIndex(tile.sliceFrac, PLANES[tile.axCorSag].normal, shape);
    const place = placement(viewer, tile, shape);
    context.save();
    context.beginPath();
    context.rect(left, top, width, height);
    context.clip();
    context.lineCap = "round";
    for (const layer of layers) {
      const placed = new Path2D();
      placed.addPath(this.path(layer, shape, tile.axCorSag, slice), place);
      context.strokeStyle = layer.colour;
      context.lineWidth = layer.width * (viewer.uiData?.dpr || 1);
      context.stroke(placed);
    }
    drawCrosshair(context, viewer, tile, place, shape);
    context.restore();
  }

  path(layer, shape, plane, slice) {
    const key = `${layer.key} ${plane} ${slice}`;
    if (!this.paths.has(key)) this.paths.set(key, outlinePath(layer.mask, shape, plane, slice));
    return this.paths.get(key);
  }
}

// Thin lines through the crosshair's voxel that leave the middle free.
function drawCrosshair(context, viewer, tile, place, shape) {
  const { across, up } = PLANES[tile.axCorSag];
  const [u, v] = [across, up].map((axis) => toIndex(viewer.scene.crosshairPos[axis], axis, shape));
  const { x, y } = place.transformPoint({ x: u, y: v });
  const [left, top, width, height] = tile.leftTopWidthHeight;
  const gap = 0.06 * Math.min(width, height);
  context.strokeStyle = "rgb(255 255 255 / 45%)";
  context.lineWidth = 1;
  context.beginPath();
  for (const [fromX, fromY, toX, toY] of [
    [left, y, x - gap, y], [x + gap, y, left + width, y], [x, top, x, y - gap], [x, y + gap, x, top + height],
  ]) {
    context.moveTo(fromX, fromY);
    context.lineTo(toX, toY);
  }
  context.stroke();
}

// Matrix from voxel indices of a plane to pixels of the canvas.
function placement(viewer, tile, shape) {
  const { across, up, horizontal, vertical } = PLANES[tile.axCorSag];
  const [left, top, width, height] = tile.leftTopWidthHeight;
  const pixels = (u, v) => {
    const fraction = [0.5, 0.5, 0.5];
    fraction[across] = toFraction(u, across, shape);
    fraction[up] = toFraction(v, up, shape);
    const mm = viewer.frac2mm(fraction);
    return [
      left + ((mm[horizontal] - tile.leftTopMM[0]) / tile.fovMM[0]) * width,
      top + height - ((mm[vertical] - tile.leftTopMM[1]) / tile.fovMM[1]) * height,
    ];
  };
  const [x, y] = pixels(0, 0);
  return new DOMMatrix([pixels(1, 0)[0] - x, 0, 0, pixels(0, 1)[1] - y, x, y]);
}
