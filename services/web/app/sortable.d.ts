// What the pages use of SortableJS, which brings no types of its own.
declare module "sortablejs/modular/sortable.core.esm.js" {
  export interface Moved {
    readonly item: HTMLElement;
    readonly to: HTMLElement;
  }

  export interface Options {
    group?: string;
    handle?: string;
    draggable?: string;
    disabled?: boolean;
    animation?: number;
    easing?: string;
    forceFallback?: boolean;
    fallbackOnBody?: boolean;
    fallbackTolerance?: number;
    fallbackClass?: string;
    ghostClass?: string;
    scroll?: boolean;
    scrollSensitivity?: number;
    scrollSpeed?: number;
    onStart?: (event: Moved) => void;
    onChange?: (event: Moved) => void;
    onEnd?: (event: Moved) => void;
  }

  export default class Sortable {
    constructor(list: HTMLElement, options: Options);
    static mount(...plugins: object[]): void;
    option<K extends keyof Options>(name: K, value: Options[K]): void;
    destroy(): void;
  }

  export const AutoScroll: new () => object;
}
