/* Draws nodes and edges as SVG, laid out in layers by dagre.
 *
 * A node is {id, label, below, kind, says}, an edge {from, to, kind, label, width, says}; kinds are classes of the style sheet.
 * Images stand in the first layer. Edges that are `beside` have no part in the layout, and no direction. */

import { drawn } from "./dom.js";
import { Graph, layout } from "./dagre.js";

const LONGEST = 34;
const CHARACTER = 7.1;
const NODE_HEIGHT = 40;
const LABEL_HEIGHT = 16;
const MARGIN = 12;
const ROOT = "root of all";
const AHEAD = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function short(text) {
  const characters = Array.from(text);
  return characters.length > LONGEST ? `${characters.slice(0, LONGEST - 1).join("")}…` : text;
}

function widthOf(...texts) {
  return 20 + CHARACTER * Math.max(...texts.map((text) => Array.from(short(text)).length));
}

function laidOut(nodes, edges) {
  const graph = new Graph({ multigraph: true });
  graph.setGraph({ rankdir: "LR", nodesep: 10, ranksep: 40, edgesep: 8, marginx: MARGIN, marginy: MARGIN });
  graph.setNode(ROOT, { width: 0, height: 0 });
  for (const node of nodes) {
    graph.setNode(node.id, { width: widthOf(node.label, node.below), height: NODE_HEIGHT });
    if (node.kind === "image") graph.setEdge(ROOT, node.id, { weight: 1000 });
  }
  edges.forEach((edge, at) => {
    if (edge.beside) return;
    const size = edge.label ? { width: widthOf(edge.label) - 12, height: LABEL_HEIGHT } : {};
    const weight = edge.kind.startsWith("attribute") ? 8 : 1;
    graph.setEdge(edge.from, edge.to, { ...size, weight, labelpos: "c" }, String(at));
  });
  layout(graph);
  return graph;
}

/* What nodes and edges take up; dagre's own size leaves out bends of edges. */
function extent(graph) {
  const corners = graph.nodes().map((id) => graph.node(id)).flatMap(({ x, y, width, height }) => [
    { x: x - width / 2, y: y - height / 2 - MARGIN }, { x: x + width / 2, y: y + height / 2 },
  ]);
  const points = [...corners, ...graph.edges().flatMap((edge) => graph.edge(edge).points ?? [])];
  const [xs, ys] = [points.map(({ x }) => x), points.map(({ y }) => y)];
  const [left, top] = [Math.min(...xs) - MARGIN, Math.min(...ys) - MARGIN];
  return { left, top, width: Math.max(...xs) + MARGIN - left, height: Math.max(...ys) + MARGIN - top };
}

/* An arc between two nodes, or above one. */
function arc(from, to) {
  if (from === to) {
    const y = from.y - from.height / 2;
    return `M${from.x - 14} ${y}C${from.x - 18} ${y - 16} ${from.x + 18} ${y - 16} ${from.x + 14} ${y}`;
  }
  const bend = 0.12;
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  return `M${from.x} ${from.y}Q${from.x + dx / 2 + dy * bend} ${from.y + dy / 2 - dx * bend} ${to.x} ${to.y}`;
}

/* A smooth line through points. */
function line(points) {
  const middle = (a, b) => `${(a.x + b.x) / 2} ${(a.y + b.y) / 2}`;
  const curves = points.slice(1, -1).map((point, at) => {
    const next = points[at + 2];
    const end = at === points.length - 3 ? `${next.x} ${next.y}` : middle(point, next);
    return `Q${point.x} ${point.y} ${end}`;
  });
  const last = points.at(-1);
  return `M${points[0].x} ${points[0].y}${curves.join("") || `L${last.x} ${last.y}`}`;
}

function edgeDrawn(edge, graph, at) {
  const { points, x, y } = edge.beside ? {} : graph.edge(edge.from, edge.to, String(at));
  const path = edge.beside
    ? drawn("path", { d: arc(graph.node(edge.from), graph.node(edge.to)) })
    : drawn("path", { d: line(points), "marker-end": "url(#arrow)" });
  if (edge.width) path.style.strokeWidth = `${edge.width}px`;
  const parts = [drawn("title", {}, edge.says), path];
  if (edge.label && !edge.beside) parts.push(drawn("text", { x, y: y + 4, "text-anchor": "middle" }, short(edge.label)));
  return drawn("g", { class: `edge ${edge.kind}` }, ...parts);
}

function nodeDrawn(node, { x, y, width, height }, first) {
  const box = drawn("rect", { x: x - width / 2, y: y - height / 2, width, height, rx: node.kind.includes("image") ? 4 : 12 });
  const text = (content, down, kind) => drawn("text", { x, y: y + down, "text-anchor": "middle", class: kind }, short(content));
  return drawn("g", { class: `node ${node.kind}`, role: "button", tabindex: first ? "0" : "-1", "aria-pressed": "false", "aria-label": node.says },
    drawn("title", {}, node.says), box, text(node.label, node.below ? -2 : 5, "label"), text(node.below, 13, "below"));
}

/* The nearest node ahead, in the direction of a key. */
function ahead(places, from, [right, down]) {
  const own = places.get(from);
  let [best, least] = [from, Infinity];
  for (const [id, place] of places) {
    const [dx, dy] = [place.x - own.x, place.y - own.y];
    const along = dx * right + dy * down;
    const across = Math.abs(dx * down) + Math.abs(dy * right);
    const far = along + 2 * across;
    if (along > 1 && far < least) [best, least] = [id, far];
  }
  return best;
}

/* An <svg> whose nodes are one stop of the Tab key: arrow keys move between them, Enter or a click calls `onChoose(node)`. */
export function drawing(nodes, edges, title, onChoose) {
  const graph = laidOut(nodes, edges);
  const { left, top, width, height } = extent(graph);
  const arrow = drawn("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 8, markerHeight: 8, markerUnits: "userSpaceOnUse", orient: "auto" },
    drawn("path", { d: "M0 0 8 4 0 8z" }));
  const lines = edges.map((edge, at) => edgeDrawn(edge, graph, at));
  const places = new Map(nodes.map((node) => [node.id, graph.node(node.id)]));
  const boxes = new Map(nodes.map((node, at) => [node.id, nodeDrawn(node, places.get(node.id), at === 0)]));
  const picture = drawn("svg", { viewBox: `${left} ${top} ${width} ${height}`, width, height, role: "group", "aria-label": title },
    drawn("defs", {}, arrow), ...lines, ...boxes.values());

  function choose(node) {
    for (const [id, box] of boxes) box.setAttribute("aria-pressed", String(id === node.id));
    edges.forEach((edge, at) => lines[at].classList.toggle("near", edge.from === node.id || edge.to === node.id));
    picture.classList.add("chosen");
    onChoose(node);
  }

  function focus(id) {
    for (const [each, box] of boxes) box.setAttribute("tabindex", each === id ? "0" : "-1");
    boxes.get(id).focus();
  }

  for (const node of nodes) {
    const box = boxes.get(node.id);
    box.addEventListener("click", () => {
      focus(node.id);
      choose(node);
    });
    box.addEventListener("keydown", (event) => {
      if (event.key in AHEAD) focus(ahead(places, node.id, AHEAD[event.key]));
      else if (event.key === "Enter" || event.key === " ") choose(node);
      else return;
      event.preventDefault();
    });
  }
  return picture;
}
