// Browsers start no workers from files. There, the search runs in a frame that nobody sees.
if (location.protocol === "file:") {
  window.IFrameWorker = window.Worker = class extends EventTarget {
    constructor(address) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      this.frame.answer = data => {
        const event = new MessageEvent("message", { data });
        this.dispatchEvent(event);
        if (this.onmessage) this.onmessage(event);
      };
      const source = new URL(address, location.href).href.replace(/"/g, "%22");
      this.frame.srcdoc = `<script>
        window.postMessage = data => frameElement.answer(data);
        window.importScripts = (...files) => files.reduce((before, file) => before.then(() => new Promise((done, failed) => {
          const script = document.createElement("script");
          Object.assign(script, { src: file, onload: done, onerror: failed });
          document.body.append(script);
        })), Promise.resolve());
      <\/script><script src="${source}"><\/script>`;
      this.ready = new Promise(done => this.frame.addEventListener("load", done));
      document.body.append(this.frame);
    }

    postMessage(data) {
      this.ready.then(() => this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data })));
    }

    terminate() {
      this.frame.remove();
    }
  };
}
