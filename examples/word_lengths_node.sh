# Runs on machines that offer the feature "node": JavaScript, without a package and without a network.
node - <<'SCRIPT'
const text = "a campus is full of idle laptops and CampusGrid makes them one computer";
const lengths = new Map();
for (const { length } of text.split(" ")) {
  lengths.set(length, (lengths.get(length) ?? 0) + 1);
}
console.log(`Node.js ${process.version}`);
for (const [length, count] of [...lengths].sort(([a], [b]) => a - b)) {
  console.log(`${String(length).padStart(2)} ${"#".repeat(count)}`);
}
SCRIPT
