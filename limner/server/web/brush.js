// A picture to paint a mask on: strokes in the picture's own pixels, with eraser, undo and keys.

export class Brush {
  constructor(canvas, changed) {
    this.canvas = canvas;
    this.changed = changed;
    this.image = null;
    this.strokes = []; // {size, erases, points: [[x, y], ...]}
    this.tool = { size: 14, erases: false }; // in hundredths of the picture's width
    this.cursor = null; // where the keys have moved the brush to
    this.mask = document.createElement("canvas");
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("keydown", (event) => this.#key(event));
    canvas.addEventListener("blur", () => {
      this.cursor = null;
      this.show();
    });
  }

  // Begin with a picture, an ImageBitmap; nothing is painted.
  start(image) {
    this.image = image;
    this.strokes = [];
    // Small pictures are shown on more pixels, so that strokes are round.
    const scale = Math.max(1, Math.ceil(512 / image.width));
    this.canvas.width = this.mask.width = image.width * scale;
    this.canvas.height = this.mask.height = image.height * scale;
    this.#changed();
  }

  undo() {
    this.strokes.pop();
    this.#changed();
  }

  clear() {
    this.strokes = [];
    this.#changed();
  }

  // The share of the picture that is painted, 0 to 1.
  share() {
    const context = this.#paint();
    const { data } = context.getImageData(0, 0, this.mask.width, this.mask.height);
    let painted = 0;
    for (let at = 3; at < data.length; at += 4) painted += data[at] > 127;
    return painted / (data.length / 4);
  }

  // A PNG as large as the picture, clear where it was painted; null where nothing was.
  async toMask() {
    if (this.share() === 0) return null;
    const small = new OffscreenCanvas(this.image.width, this.image.height);
    const context = small.getContext("2d");
    context.fillRect(0, 0, small.width, small.height);
    context.globalCompositeOperation = "destination-out";
    context.drawImage(this.mask, 0, 0, small.width, small.height);
    // The edge of a stroke is half clear; a pixel is redrawn or it is not.
    const pixels = context.getImageData(0, 0, small.width, small.height);
    for (let at = 3; at < pixels.data.length; at += 4) {
      pixels.data[at] = pixels.data[at] > 127 ? 255 : 0;
    }
    context.putImageData(pixels, 0, 0);
    return small.convertToBlob({ type: "image/png" });
  }

  show() {
    if (this.image === null) return;
    const context = this.canvas.getContext("2d");
    const { width, height } = this.canvas;
    context.globalCompositeOperation = "source-over";
    context.globalAlpha = 1;
    context.imageSmoothingQuality = "high";
    context.clearRect(0, 0, width, height);
    context.drawImage(this.image, 0, 0, width, height);
    context.globalAlpha = 0.6;
    context.drawImage(this.mask, 0, 0);
    context.globalAlpha = 1;
    if (this.cursor) this.#ring(context);
  }

  #changed() {
    this.#paint();
    this.show();
    this.changed(this.share());
  }

  #paint() {
    const context = this.mask.getContext("2d", { willReadFrequently: true });
    context.globalCompositeOperation = "source-over";
    context.clearRect(0, 0, this.mask.width, this.mask.height);
    context.strokeStyle = "#e0218a"; // stands out on photographs and drawings alike
    context.lineCap = context.lineJoin = "round";
    for (const { size, erases, points } of this.strokes) {
      context.globalCompositeOperation = erases ? "destination-out" : "source-over";
      context.lineWidth = (size / 100) * this.mask.width;
      context.beginPath();
      context.moveTo(...points[0]);
      for (const point of points) context.lineTo(...point);
      context.stroke();
    }
    return context;
  }

  #ring(context) {
    const radius = (this.tool.size / 200) * this.canvas.width;
    for (const [colour, width] of [["#fff", 5], ["#1d2733", 2]]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.beginPath();
      context.arc(...this.cursor, radius, 0, 2 * Math.PI);
      context.stroke();
    }
  }

  #at(event) {
    const box = this.canvas.getBoundingClientRect();
    return [
      ((event.clientX - box.left) / box.width) * this.canvas.width,
      ((event.clientY - box.top) / box.height) * this.canvas.height,
    ];
  }

  #down(event) {
    if (event.button !== 0 || this.image === null) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.strokes.push({ ...this.tool, points: [this.#at(event)] });
    this.#changed();
  }

  #move(event) {
    if (!this.canvas.hasPointerCapture(event.pointerId) || this.strokes.length === 0) return;
    this.strokes.at(-1).points.push(this.#at(event));
    this.#changed();
  }

  #key(event) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const { width, height } = this.canvas;
    this.cursor ??= [width / 2, height / 2];
    if (event.key in steps) {
      const by = (width / 100) * (event.shiftKey ? 10 : 4);
      const [x, y] = steps[event.key];
      this.cursor = [
        Math.min(width, Math.max(0, this.cursor[0] + x * by)),
        Math.min(height, Math.max(0, this.cursor[1] + y * by)),
      ];
    } else if (event.key === " ") {
      this.strokes.push({ ...this.tool, points: [this.cursor] });
      this.#changed();
    } else {
      return;
    }
    event.preventDefault();
    this.show();
  }
}
