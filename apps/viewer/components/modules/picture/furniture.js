// What stands around a picture: orientation letters, corner texts, scale bar, cross-hair, the frame of the active pane.

const QUIET = "rgb(214 220 226 / 0.82)";
const LETTER = "rgb(232 190 106 / 0.95)";
const SHADOW = "rgb(0 0 0 / 0.9)";
const FONT = "system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif";
const MARGIN = 10;
const LINE = 15;

export const PLANE_COLOURS = { axial: "#6fa8dc", coronal: "#8fc98b", sagittal: "#d9a066" };
const CROSSED_BY = { axial: { vertical: "sagittal", horizontal: "coronal" }, coronal: { vertical: "sagittal", horizontal: "axial" }, sagittal: { vertical: "coronal", horizontal: "axial" } };

export function drawFurniture(context, pane) {
  const { room } = pane;
  if (room.isCrosshairShown) drawCrosshair(context, pane);
  context.shadowColor = SHADOW;
  context.shadowBlur = 3;
  drawLetters(context, pane);
  drawScaleBar(context, pane);
  if (room.areCornersShown) drawCorners(context, pane);
  context.shadowBlur = 0;
}

function drawCrosshair(context, pane) {
  const { x, y } = pane.screenOf(pane.room.cursor);
  const gap = 9;
  const crossed = CROSSED_BY[pane.planeName];
  context.globalAlpha = 0.75;
  context.lineWidth = 1;
  const line = (colour, ...segments) => {
    context.strokeStyle = colour;
    context.beginPath();
    for (const [x0, y0, x1, y1] of segments) {
      context.moveTo(x0, y0);
      context.lineTo(x1, y1);
    }
    context.stroke();
  };
  const [cx, cy] = [Math.round(x) + 0.5, Math.round(y) + 0.5];
  line(PLANE_COLOURS[crossed.vertical], [cx, 0, cx, cy - gap], [cx, cy + gap, cx, pane.height]);
  line(PLANE_COLOURS[crossed.horizontal], [0, cy, cx - gap, cy], [cx + gap, cy, pane.width, cy]);
  context.globalAlpha = 1;
}

function drawLetters(context, pane) {
  const letters = pane.room.study.edges[pane.planeName];
  context.font = `600 13px ${FONT}`;
  context.fillStyle = LETTER;
  const write = (text, x, y, align) => {
    context.textAlign = align;
    context.textBaseline = "middle";
    context.fillText(text, x, y);
  };
  write(letters.left, MARGIN, pane.height / 2, "left");
  write(letters.right, pane.width - MARGIN, pane.height / 2, "right");
  write(letters.top, pane.width / 2, MARGIN + 6, "center");
  write(letters.bottom, pane.width / 2, pane.height - MARGIN - 6, "center");
}

// The longest of 1, 2, 5 x 10^n mm that fits a quarter of the pane.
export function scaleBarMm(pixelsPerMm, width) {
  const most = width / 4 / pixelsPerMm;
  const power = 10 ** Math.floor(Math.log10(most));
  return [5, 2, 1].map((n) => n * power).find((mm) => mm <= most) ?? power;
}

function drawScaleBar(context, pane) {
  const mm = scaleBarMm(pane.view.pixelsPerMm, pane.width);
  const length = mm * pane.view.pixelsPerMm;
  const right = pane.width - MARGIN;
  const y = pane.height - MARGIN - (pane.room.areCornersShown ? 2 : 0);
  context.strokeStyle = QUIET;
  context.lineWidth = 1.5;
  context.beginPath();
  context.moveTo(right - length, y - 5);
  context.lineTo(right - length, y);
  context.lineTo(right, y);
  context.lineTo(right, y - 5);
  context.stroke();
  context.font = `11px ${FONT}`;
  context.fillStyle = QUIET;
  context.textAlign = "right";
  context.textBaseline = "bottom";
  context.fillText(mm >= 10 ? `${mm / 10} cm` : `${mm} mm`, right, y - 6);
}

function drawCorners(context, pane) {
  const texts = pane.room.cornerTexts(pane);
  context.font = `11.5px ${FONT}`;
  context.textBaseline = "alphabetic";
  const column = (lines, x, align, fromTop) => {
    context.textAlign = align;
    lines.forEach((text, n) => {
      const y = fromTop ? MARGIN + LINE * (n + 1) - 4 : pane.height - MARGIN - LINE * (lines.length - 1 - n);
      context.fillStyle = n === 0 && align === "left" && fromTop ? PLANE_COLOURS[pane.planeName] : QUIET;
      context.fillText(clipped(context, text, pane.width * 0.42), x, y);
    });
  };
  column(texts.topLeft, MARGIN, "left", true);
  column(texts.topRight, pane.width - MARGIN, "right", true);
  column(texts.bottomLeft, MARGIN, "left", false);
}

function clipped(context, text, most) {
  if (context.measureText(text).width <= most) return text;
  let end = text.length;
  while (end > 1 && context.measureText(`${text.slice(0, end)}…`).width > most) end -= 1;
  return `${text.slice(0, end)}…`;
}
