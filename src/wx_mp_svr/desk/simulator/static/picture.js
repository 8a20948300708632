// A picture from the clipboard, so small that it can stand in a packet as its own address.

const MOST_PIXELS = 480;
const MOST_CHARACTERS = 45000; // a packet has at most 65536

export async function shrink(file) {
  const picture = await createImageBitmap(file);
  const canvas = document.createElement("canvas");
  for (let most = MOST_PIXELS; most > 40; most *= 0.7) {
    const factor = Math.min(1, most / Math.max(picture.width, picture.height));
    canvas.width = Math.max(1, Math.round(picture.width * factor));
    canvas.height = Math.max(1, Math.round(picture.height * factor));
    const paper = canvas.getContext("2d");
    paper.fillStyle = "white"; // JPEG knows no transparency
    paper.fillRect(0, 0, canvas.width, canvas.height);
    paper.drawImage(picture, 0, 0, canvas.width, canvas.height);
    const url = canvas.toDataURL("image/jpeg", 0.8);
    if (url.length <= MOST_CHARACTERS) return url;
  }
  return "";
}
