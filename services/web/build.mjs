// Builds the pages: node build.mjs DIRECTORY, with esbuild and SortableJS on NODE_PATH. Two builds of the same sources are
// equal to the byte.
import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const tools = process.env.NODE_PATH;
const { build } = createRequire(join(tools, "package.json"))("esbuild");
const app = join(dirname(fileURLToPath(import.meta.url)), "app");
const out = resolve(process.argv[2]);

const pages = ["index.html", "operator.html"];
const html = new Map(await Promise.all(pages.map(async (name) => [name, await readFile(join(app, name), "utf8")])));
const entries = [...html.values()].flatMap((text) => [...text.matchAll(/(?:src|href)="([\w-]+)\.(js|css)"/g)]);

/** What a compiler for older browsers wrote into SortableJS, as browsers have it by now. */
const helpers = `
const _extends = Object.assign, _objectSpread2 = Object.assign, _typeof = (value) => typeof value, _toConsumableArray = (all) => [...all];
const _defineProperty = (on, name, value) => Object.assign(on, { [name]: value });
const _objectWithoutProperties = (all, without) => Object.fromEntries(Object.entries(all).filter(([name]) => !without.includes(name)));
`;

/** All that stands between two lines of a file. */
const lines = (first, last, flags = "m") => new RegExp(`^${first}[\\s\\S]*?^${last}\\n`, flags);
const method = (name) => lines(`  ${name}: function`, "  \\},");
const declared = (name) => lines(`function ${name}\\(`, "\\}");

/** What these pages never come to in SortableJS, or need less of: each has to be found. */
const cuts = [
  // Browsers from before ES2022, and libraries that rows are not made with.
  [/^function _arrayLikeToArray[\s\S]*?(?=^var version)/gm, helpers],
  [/^var (IE11OrLess|Edge) = userAgent\(.*\);$/gm, "const $1 = false;"],
  [/supportCssPointerEvents = function \(\) \{[\s\S]*?\}\(\),/g, ""],
  [/\bsupportCssPointerEvents\b/g, "true"],
  [/window\.CustomEvent &&/g, ""],
  [/window\.(Polymer|jQuery \|\| window\.Zepto)/g, "null"],
  [/^.*'(webkit|moz|ms)Transform'.*\n/gm, ""],
  [declared("matches"), "const matches = (el, selector) => Boolean(selector && el?.matches?.(selector));\n"],
  [declared("toggleClass"), "const toggleClass = (el, name, state) => name && el?.classList.toggle(name, state);\n"],
  // Drag and drop by browsers themselves.
  [/this\.nativeDraggable = options\.forceFallback.*;/g, ""],
  [/\b_?this(\.sortable)?\.nativeDraggable\b/g, "false"],
  // Delays, filters, groups that refuse, orders of its own: the store has the order.
  [/if \(options\.delay &&[\s\S]*?\} else \{\n\s*dragStartFn\(\);\n\s*\}/, "dragStartFn();"],
  [/^.*\.(save|_disableDelayedDragEvents)\(\);\n/gm, ""],
  ...["toArray", "sort", "save", "closest", "destroy", "_delayedDragTouchMoveHandler", "_disableDelayedDrag", "_disableDelayedDragEvents"].map((name) => [method(name), ""]),
  [/^.*options\.store\.get.*\n/m, ""],
  [/\/\/ Check filter[\s\S]*?(?=if \(options\.handle)/, ""],
  [lines("  _prepareGroup = function", "  \\},"), `  _prepareGroup = (options) => {
    const yes = () => true;
    options.group = { name: options.group, checkPull: yes, checkPut: yes };
  },
`],
  [lines("Sortable\\.(utils|get|create) = ", "\\};", "gm"), ""],
  [/^.*plugin\.utils\).*\n/m, ""],
  // Rows stand one below the other and are as wide as their list: nothing needs to be measured to know that.
  [/direction: function direction\(\) \{[\s\S]*?\},/, 'direction: "vertical",'],
  [/getChildContainingRectFromElement\(sortable\.el, sortable\.options, ghostEl\)/g, "getRect(sortable.el)"],
];

const lean = {
  name: "lean",
  setup({ onLoad }) {
    onLoad({ filter: /sortable\.core\.esm\.js$/ }, async ({ path }) => {
      let contents = await readFile(path, "utf8");
      for (const [found, instead] of cuts) {
        if (contents.search(found) < 0) throw new Error(`${path} has no ${found}`);
        contents = contents.replace(found, instead);
      }
      return { contents };
    });
  },
};

await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });
const { outputFiles } = await build({
  absWorkingDir: app,
  entryPoints: [...new Set(entries.map(([, name, kind]) => `${name}.${kind === "js" ? "ts" : kind}`))].sort(),
  outdir: out,
  write: false,
  nodePaths: [tools],
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  charset: "utf8",
  legalComments: "linked",
  plugins: [lean],
});

// The hash is that of the content alone, so that it is the same wherever the tools and the sources are.
const built = new Map(); // the name that a page uses, and that of the file
for (const { path, contents } of outputFiles) {
  const [, name, kind] = /^([\w-]+)(\.\w+)$/.exec(basename(path)) ?? [];
  const hash = createHash("sha256").update(contents).digest("hex").slice(0, 8).toUpperCase();
  const file = name ? `${name}-${hash}${kind}` : basename(path);
  built.set(basename(path), file);
  await writeFile(join(out, file), contents);
}

/** Puts other files where a page names them, without the blanks that are there for readers. */
async function include(text) {
  const names = [...text.matchAll(/<!-- ([\w-]+\.\w+) -->/g)].map(([, name]) => name);
  const files = await Promise.all(names.map(async (name) => [name, await readFile(join(app, name), "utf8")]));
  return files.reduce((page, [name, content]) => page.replace(`<!-- ${name} -->`, () => content.replaceAll(/\s*\n\s*/g, " ").trim()), text);
}

for (const [name, text] of html) {
  const linked = text.replaceAll(/(src|href)="([\w-]+\.(?:js|css))"/g, (_, attribute, source) => `${attribute}="/${built.get(source)}"`);
  await writeFile(join(out, name), await include(linked));
}
await writeFile(join(out, "icon.svg"), await readFile(join(app, "icon.svg")));
