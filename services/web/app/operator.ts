// The page of operators.
import { Board } from "./board";
import { door, menu, remembered, type Person } from "./session";

let board: Board | null = null;

function leave(note: string): void {
  board?.close();
  board = null;
  door(true, note, enter);
}

function enter(person: Person): void {
  board?.close();
  board = new Board(person, leave);
  menu(person, () => leave(""), enter);
}

const person = remembered(true);
if (person) enter(person);
else leave("");
