/** `node test/tools/main.ts [NAME...]`: fetches the programs that the tests use and prints where they are. */
import { recipes, type ToolName } from './recipes.ts';
import { tool } from './tool.ts';

const known = Object.values(recipes).flatMap((recipe) => Object.keys(recipe.programs)) as ToolName[];
const wanted = process.argv.length > 2 ? process.argv.slice(2) : known;
for (const name of wanted) {
  const chosen = known.find((other) => other === name);
  if (chosen === undefined) {
    console.error(`${name}: not one of ${known.join(', ')}`);
    process.exitCode = 2;
    continue;
  }
  const start = Date.now();
  console.log(`${chosen}\t${await tool(chosen)}\t${Date.now() - start} ms`);
}
