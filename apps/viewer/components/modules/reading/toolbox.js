// Every tool of the left button, in the order of the toolbar.

import { BrushTool } from "../correcting/brush.js";
import { MeasureTool } from "../measuring/measure_tool.js";
import { CrosshairTool, PanTool, WindowTool } from "../picture/tools.js";

const BRUSH = "M13.500 2.500L7 9M7 9c-2-1-4 .5-4 2.500 0 1.200-.7 2-1.500 2.500 3 .8 6.500-.5 6.500-3C8 10 7.500 9.300 7 9z";
const ERASER = "M6 13.500h8M2.500 9.500l6-6.500 4.500 4-6 6.500H5z";
const RULER = "M2 11l9-9 3 3-9 9zM5 8l1.500 1.500M7 6l1 1M9 4l1.500 1.500";
const CROSSED = "M3 13L13 3M4.500 5.500l6 6";
const CORNER = "M13 13H3L10 3";
const OVAL = "M2 8a6 4 0 1 0 12 0A6 4 0 1 0 2 8z";

export function makeTools(room) {
  return {
    crosshair: new CrosshairTool(),
    window: new WindowTool(),
    pan: new PanTool(),
    brush: new BrushTool(room, "brush", "Brush", "b", BRUSH, false),
    erase: new BrushTool(room, "erase", "Eraser", "e", ERASER, true),
    length: new MeasureTool(room, "length", "6", RULER),
    diameters: new MeasureTool(room, "diameters", "7", CROSSED),
    angle: new MeasureTool(room, "angle", "8", CORNER),
    roi: new MeasureTool(room, "roi", "9", OVAL),
  };
}
