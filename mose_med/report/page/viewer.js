// The slice viewer of the review page. Everything it shows is in the page; it asks for nothing else.

const review = JSON.parse(document.getElementById("review").textContent);
const byId = (id) => document.getElementById(id);
const state = { lesion: null, map: "", window: 0, zoom: 1, shown: new Set(), marked: null };
const loaded = new Map();

// What loads volumes runs one after the other, so that two quick clicks do not mix.
let turn = Promise.resolve();
const inTurn = (action) => (...values) => (turn = turn.then(() => action(...values)));
const selectLesion = inTurn(showLesion);
const selectMap = inTurn(showMap);

async function embedded(id) {
  const bytes = Uint8Array.from(atob(byId(id).textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

async function importNiivue() {
  const url = URL.createObjectURL(new Blob([await embedded("niivue")], { type: "text/javascript" }));
  try {
    return await import(url);
  } finally {
    URL.revokeObjectURL(url);
  }
}

let niivue = null; // the module and its viewer, once they are there
let viewer = null;
const outlines = new OutlineCanvas(byId("outlines"));

function createViewer() {
  class OutlinedViewer extends niivue.Niivue {
    drawScene() {
      const drawn = super.drawScene();
      if (state.lesion && this.volumes.length) outlines.draw(this, state.lesion.shape, shownLayers());
      return drawn;
    }
  }
  return new OutlinedViewer({
    isRadiologicalConvention: true,
    multiplanarShowRender: niivue.SHOW_RENDER.NEVER,
    dragMode: niivue.DRAG_MODE.windowing,
    crosshairWidth: 0, // drawn with the outlines, thinner
    fontMinPx: 16,
    fontColor: [0.85, 0.85, 0.85, 1],
    dragAndDropEnabled: false,
    logLevel: "error",
    loadingText: "",
    clipPlaneHotKey: "",
    cycleClipPlaneHotKey: "",
    viewModeHotKey: "",
  });
}

// Layers ------------------------------------------------------------------------------------------------------------

const sampleKey = (expert, sample) => `expert-${expert + 1}-sample-${sample + 1}`;

// Broad lines first, so that thin ones stay visible on them; the sample pointed at lies on top.
function shownLayers() {
  const { number, masks } = state.lesion;
  return review.layers
    .filter(({ key }) => state.shown.has(key) && key !== state.marked)
    .map(({ key, colour }) => ({ key, colour, width: key === "consensus" ? 3 : 1.4 }))
    .concat(review.layers.filter(({ key }) => key === state.marked).map((layer) => ({ ...layer, width: 4 })))
    .map((layer) => ({ ...layer, key: `${number} ${layer.key}`, mask: masks[layer.key] }));
}

function toggleLayer(key, shown) {
  if (shown) state.shown.add(key);
  else state.shown.delete(key);
  syncExperts();
  viewer.drawScene();
}

function syncExperts() {
  for (const box of document.querySelectorAll("input[data-layer]")) box.checked = state.shown.has(box.dataset.layer);
  for (const box of document.querySelectorAll("input[data-expert]")) {
    const on = samplesOf(box.dataset.expert).filter((key) => state.shown.has(key)).length;
    box.checked = on === review.samples;
    box.indeterminate = on > 0 && on < review.samples;
  }
}

const samplesOf = (expert) => Array.from({ length: review.samples }, (_, sample) => sampleKey(Number(expert), sample));

function toggleExpert(expert, shown) {
  for (const key of samplesOf(expert)) toggleLayer(key, shown);
}

// Lesions and maps --------------------------------------------------------------------------------------------------

async function loadLesion(number) {
  if (!loaded.has(number)) {
    const entry = review.lesions.find((lesion) => lesion.number === number);
    const masks = {};
    const [samples, consensus] = await Promise.all(
      ["samples", "consensus"].map(async (name) => new Uint8Array(await embedded(`volume-${entry.volumes}-${name}`), 352)),
    );
    const voxels = consensus.length;
    for (let expert = 0; expert < review.experts; expert++) {
      for (let sample = 0; sample < review.samples; sample++) {
        const start = (expert * review.samples + sample) * voxels;
        masks[sampleKey(expert, sample)] = samples.subarray(start, start + voxels);
      }
    }
    loaded.set(number, { ...entry, masks: { ...masks, consensus } });
  }
  return loaded.get(number);
}

async function nifti(name, colours, opacity, low, high) {
  const buffer = await embedded(`volume-${state.lesion.volumes}-${name}`);
  return niivue.NVImage.new(buffer, `${name}.nii`, colours, opacity, null, low, high);
}

// A map whose colours run from 0 to its maximum; below a twentieth of it the CT is not covered.
async function mapImage(map) {
  const image = await nifti(map.name, map.colours, Number(byId("opacity").value) / 100, map.maximum / 20, map.maximum);
  image.colormapType = niivue.COLORMAP_TYPE.ZERO_TO_MAX_TRANSPARENT_BELOW_MIN;
  return image;
}

async function showLesion(number) {
  state.lesion = await loadLesion(number);
  const [low, high] = windowRange();
  const image = await nifti("ct", "gray", 1, low, high);
  for (const volume of [...viewer.volumes].reverse()) viewer.removeVolume(volume);
  viewer.addVolume(image);
  await showMap(state.map);
  goTo(state.lesion.focus);
  setZoom(state.lesion.zoom);
  for (const button of document.querySelectorAll("[data-lesion]")) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.lesion) === number));
  }
  byId("shown-lesion").textContent = `Lesion ${number}`;
  state.lesion.expertProbs.forEach((share, expert) => {
    byId(`share-${expert + 1}`).textContent = `${Math.round(100 * share)} %`;
  });
}

async function showMap(name) {
  state.map = name;
  byId("map").value = name;
  for (const volume of viewer.volumes.slice(1)) viewer.removeVolume(volume);
  const map = review.maps.find((entry) => entry.name === name);
  byId("legend").hidden = !map;
  if (map) {
    viewer.addVolume(await mapImage(map));
    drawLegend(map);
  }
  viewer.updateGLVolume();
  describe();
}

function drawLegend(map) {
  const context = byId("legend-bar").getContext("2d");
  const table = viewer.colormap(map.colours);
  for (let level = 0; level < 256; level++) {
    context.fillStyle = `rgb(${table[4 * level]} ${table[4 * level + 1]} ${table[4 * level + 2]})`;
    context.fillRect(level, 0, 1, 12);
  }
  byId("legend-high").textContent = map.unit ? `${map.maximum.toFixed(2)} ${map.unit}` : "1";
}

// Position, window, zoom --------------------------------------------------------------------------------------------

const planeOf = () => Number(document.querySelector("input[name=plane]:checked").value);
const normalAxis = () => PLANES[planeOf()]?.normal ?? 2;
const position = () => [0, 1, 2].map((axis) => toIndex(viewer.scene.crosshairPos[axis], axis, state.lesion.shape));

function goTo(voxel) {
  const { shape } = state.lesion;
  viewer.scene.crosshairPos = voxel.map((index, axis) => toFraction(index, axis, shape));
  viewer.drawScene();
  describe();
}

function step(axis, by) {
  const voxel = position();
  voxel[axis] = Math.min(Math.max(voxel[axis] + by, 0), state.lesion.shape[axis] - 1);
  goTo(voxel);
}

function windowRange() {
  const { level, width } = review.windows[state.window];
  return [level - width / 2, level + width / 2];
}

function setWindow(index) {
  state.window = index;
  byId("window").value = String(index);
  [viewer.volumes[0].cal_min, viewer.volumes[0].cal_max] = windowRange();
  viewer.updateGLVolume();
}

function setZoom(zoom) {
  state.zoom = Math.min(Math.max(zoom, 1), 8);
  const centre = viewer.frac2mm(viewer.scene.crosshairPos);
  const middle = viewer.frac2mm([0.5, 0.5, 0.5]);
  const offset = [0, 1, 2].map((axis) => (state.zoom === 1 ? 0 : middle[axis] - state.zoom * centre[axis]));
  viewer.setPan2Dxyzmm([...offset, state.zoom]);
}

// What is under the crosshair, in words and numbers.
function describe() {
  if (!state.lesion) return;
  const { affine, shape, masks, expertProbs } = state.lesion;
  const voxel = position();
  const mm = [0, 1, 2].map((row) => affine[row][3] + voxel.reduce((sum, index, axis) => sum + affine[row][axis] * index, 0));
  const offset = voxel[0] + shape[0] * (voxel[1] + shape[1] * voxel[2]);
  const drawn = expertProbs.reduce(
    (sum, share, expert) => sum + (share * samplesOf(expert).filter((key) => masks[key][offset]).length) / review.samples,
    0,
  );
  const values = viewer.volumes.map((volume) => volume.getValue(shape[0] - 1 - voxel[0], shape[1] - 1 - voxel[1], voxel[2]));
  const map = review.maps.find((entry) => entry.name === state.map);
  const parts = [
    `L ${(-mm[0]).toFixed(1)}, P ${(-mm[1]).toFixed(1)}, S ${mm[2].toFixed(1)} mm`,
    `${Math.round(values[0])} HU`,
    `drawn by ${Math.round(100 * drawn)} % of the samples`,
  ];
  if (map && values.length > 1) parts.push(`${map.label} ${values[1].toFixed(2)} ${map.unit}`.trim());
  byId("readout").textContent = parts.join(" · ");
  const axis = normalAxis();
  Object.assign(byId("slice"), { max: String(shape[axis] - 1), value: String(voxel[axis]) });
  byId("slice-place").textContent = `${voxel[axis] + 1} of ${shape[axis]}`;
}

// Controls ----------------------------------------------------------------------------------------------------------

function setPlane(plane) {
  document.querySelector(`input[name=plane][value="${plane}"]`).checked = true;
  viewer.setSliceType(plane);
  describe();
}

function nextLesion(by) {
  const numbers = review.lesions.map((lesion) => lesion.number);
  const index = numbers.indexOf(state.lesion.number) + by;
  return selectLesion(numbers[(index + numbers.length) % numbers.length]);
}

function cycleMap() {
  const names = ["", ...review.maps.map((map) => map.name)];
  return selectMap(names[(names.indexOf(state.map) + 1) % names.length]);
}

const KEYS = {
  ArrowUp: () => step(normalAxis(), 1),
  ArrowDown: () => step(normalAxis(), -1),
  PageUp: () => step(normalAxis(), 5),
  PageDown: () => step(normalAxis(), -5),
  Home: () => selectLesion(state.lesion.number),
  n: () => nextLesion(1),
  b: () => nextLesion(-1),
  m: cycleMap,
  w: () => setWindow((state.window + 1) % review.windows.length),
  p: () => setPlane((planeOf() + 1) % 4),
  c: () => toggleLayer("consensus", !state.shown.has("consensus")),
  "+": () => setZoom(state.zoom * 1.25),
  "-": () => setZoom(state.zoom / 1.25),
};

function onKey(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const expert = Number(event.key) - 1;
  const action =
    KEYS[event.key] ||
    (expert >= 0 && expert < review.experts && (() => toggleExpert(expert, !samplesOf(expert).every((key) => state.shown.has(key)))));
  if (!action) return;
  event.preventDefault();
  event.stopPropagation();
  action();
}

function listen() {
  byId("stage").addEventListener("keydown", onKey, true);
  byId("slice").addEventListener("input", (event) => {
    const voxel = position();
    voxel[normalAxis()] = Number(event.target.value);
    goTo(voxel);
  });
  byId("window").addEventListener("change", (event) => setWindow(Number(event.target.value)));
  byId("map").addEventListener("change", (event) => selectMap(event.target.value));
  byId("opacity").addEventListener("input", (event) => {
    if (viewer.volumes.length > 1) viewer.setOpacity(1, Number(event.target.value) / 100);
  });
  document.addEventListener("change", ({ target }) => {
    if (target.name === "plane") setPlane(Number(target.value));
    if (target.dataset.layer) toggleLayer(target.dataset.layer, target.checked);
    if (target.dataset.expert) toggleExpert(target.dataset.expert, target.checked);
  });
  for (const label of document.querySelectorAll("label[data-mark]")) {
    const mark = (key) => () => {
      state.marked = key;
      viewer.drawScene();
    };
    label.addEventListener("pointerenter", mark(label.dataset.mark));
    label.addEventListener("pointerleave", mark(null));
  }
  document.addEventListener("click", async ({ target }) => {
    const button = target.closest("[data-lesion]");
    if (!button) return;
    await selectLesion(Number(button.dataset.lesion));
    if (button.dataset.scroll) byId(`lesion-${button.dataset.lesion}`)?.scrollIntoView({ block: "start" });
  });
}

// The page as it opens: the first lesion, axial, with all outlines and no map.
async function reset() {
  for (const { key } of review.layers) state.shown.add(key);
  syncExperts();
  state.window = 0;
  state.map = "";
  setPlane(niivue.SLICE_TYPE.AXIAL);
  for (const control of [byId("window"), byId("opacity")]) control.value = control.defaultValue ?? "0";
  if (review.lesions.length) await selectLesion(review.lesions[0].number);
}

async function start() {
  niivue = await importNiivue();
  viewer = createViewer();
  await viewer.attachToCanvas(byId("slices"));
  viewer.onLocationChange = describe;
  listen();
  await reset();
  globalThis.moseReview = { viewer, state, reset, settled: () => turn }; // for the console of the browser, and for tests
  document.body.dataset.state = "ready";
}

try {
  await start();
} catch (error) {
  byId("no-viewer").hidden = false;
  byId("stage").hidden = true;
  throw error;
}
