(() => {
  const ask = async (csr) => {
    const response = await post("/.postern/renew", { csr });
    const answer = await response.json();
    if (!response.ok) throw { said: answer.detail };
    return answer;
  };
  ["begin", "retry"].forEach((id) => $(id).addEventListener("click", () => obtain(ask)));
  show($("make"), true);
})();
