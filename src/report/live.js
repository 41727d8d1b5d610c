
// A run under way: its parts arrive as they change.
{
  const place = (id) => document.getElementById(id);
  const put = (id, html) => {
    place(id).innerHTML = html;
    enhance(place(id));
  };
  const source = new EventSource("/events");
  source.addEventListener("open", () => { place("lost").hidden = true; });
  source.addEventListener("error", () => { place("lost").hidden = false; });
  source.addEventListener("live", (event) => {
    // Who reads further up in the log stays there.
    const before = place("live").querySelector("pre.log");
    const isAtEnd = before === null || before.scrollTop + before.clientHeight > before.scrollHeight - 8;
    const top = before?.scrollTop ?? 0;
    put("live", event.data);
    const log = place("live").querySelector("pre.log");
    if (log !== null) log.scrollTop = isAtEnd ? log.scrollHeight : top;
  });
  source.addEventListener("curves", (event) => put("running", event.data));
  source.addEventListener("report", (event) => {
    const { contents, report } = JSON.parse(event.data);
    place("contents").innerHTML = contents;
    put("report", report);
    followContents();
  });
  source.addEventListener("over", () => {
    source.close();
    document.title = document.title.replace("Run under way", "Run over");
  });
  const log = place("live").querySelector("pre.log");
  if (log !== null) log.scrollTop = log.scrollHeight;
}
