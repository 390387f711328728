// Parses T-SQL files with Microsoft's parsers for SQL Server 2008 R2, 2012 and 2014. Prints one line of tab-separated fields
// for each file and parser: FILE PARSER ok BATCHES KINDS ALTERATIONS, or FILE PARSER error MESSAGE. The test checks the output.
using System;
using System.Collections.Generic;
using System.IO;
using Microsoft.SqlServer.TransactSql.ScriptDom;

// Every ALTER DATABASE statement: kind, option and database name as the parser read them.
class Moves : TSqlFragmentVisitor
{
    public readonly List<string> Found = new List<string>();

    public override void Visit(AlterDatabaseSetStatement statement)
    {
        foreach (var option in statement.Options)
        {
            var partner = option as PartnerDatabaseOption;
            Found.Add(statement.GetType().Name + " " + (partner == null ? option.OptionKind.ToString() : partner.PartnerOption.ToString()) + " " + Escape(statement.DatabaseName.Value));
        }
    }

    public override void Visit(AlterDatabaseStatement statement)
    {
        if (!(statement is AlterDatabaseSetStatement)) Found.Add(statement.GetType().Name);
    }

    public static string Escape(string text)
    {
        return text.Replace("\\", "\\\\").Replace("\t", "\\t").Replace("\r", "\\r").Replace("\n", "\\n");
    }
}

// The kinds of all statements, including nested ones.
class Kinds : TSqlFragmentVisitor
{
    public readonly SortedSet<string> Found = new SortedSet<string>(StringComparer.Ordinal);

    public override void Visit(TSqlStatement statement) { Found.Add(statement.GetType().Name); }
}

class Program
{
    static void Main(string[] files)
    {
        var parsers = new SortedDictionary<string, TSqlParser>(StringComparer.Ordinal) {
            { "2008R2", new TSql100Parser(true) }, { "2012", new TSql110Parser(true) }, { "2014", new TSql120Parser(true) } };
        foreach (var file in files)
        foreach (var parser in parsers)
        {
            IList<ParseError> errors;
            TSqlFragment tree;
            using (var reader = new StringReader(File.ReadAllText(file))) tree = parser.Value.Parse(reader, out errors);
            string verdict;
            if (errors.Count > 0)
                verdict = "error\t" + errors[0].Number + " " + Moves.Escape(errors[0].Message) + " (line " + errors[0].Line + ")";
            else
            {
                var moves = new Moves();
                var kinds = new Kinds();
                tree.Accept(moves);
                tree.Accept(kinds);
                var batches = ((TSqlScript)tree).Batches.Count;
                verdict = "ok\t" + batches + "\t" + string.Join(",", kinds.Found) + "\t" + string.Join(" | ", moves.Found);
            }
            Console.Out.Write(Path.GetFileName(file) + "\t" + parser.Key + "\t" + verdict + "\n");
        }
    }
}
